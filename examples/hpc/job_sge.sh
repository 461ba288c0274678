#!/bin/bash
#$ -q standard
#$ -N NAME-OF-THE-JOB
#$ -P matsci
#$ -l h_rt=12:00:00
#$ -pe mpi 32
#$ -o /scratch/me/mgsurf/FOLDER-OF-THE-JOB/queue.out
#$ -e /scratch/me/mgsurf/FOLDER-OF-THE-JOB/queue.err

cd /scratch/me/mgsurf/FOLDER-OF-THE-JOB
source ~/mgsurf/.venv/bin/activate
export OMP_NUM_THREADS=1
jf -fe execution run /scratch/me/mgsurf/FOLDER-OF-THE-JOB
